"""What brings a pruned network back before any training: least squares, batch norm re-estimation, low rank."""

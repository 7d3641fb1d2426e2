"""What a channel is worth: one criterion, one number per channel."""

"""Channels with similar maps: perceptual hashes, the graph above a threshold, and which channels of it stay."""

"""Notifications in the style of Channels' tutorial: one consumer, two groups, nothing else."""

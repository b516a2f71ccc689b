"""Notifications as Channels' tutorial would have them: one consumer, two groups, nothing else."""

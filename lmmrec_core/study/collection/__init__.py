"""What a track needs from publishers, brought into its data folder and counted beside what the paper prints."""

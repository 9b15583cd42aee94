"""What all reports share: the look of plots, HTML templates and their style."""

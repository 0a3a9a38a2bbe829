"""Out-of-distribution detection: fit detectors on a run's training images, score other views, tabulate the results."""

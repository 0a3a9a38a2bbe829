"""Out-of-distribution detection of a run: detectors fitted on its training images, other views scored, one table."""

"""Common code of the detectors; ``protocol`` defines their interface."""

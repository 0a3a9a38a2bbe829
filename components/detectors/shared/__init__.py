"""What detectors have in common; ``protocol`` says what every detector promises."""

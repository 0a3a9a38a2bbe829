"""Published files, brought and verified: ``bring`` first."""

"""What killed processes and other versions leave behind: found, and mended on request. One file a kind of fault."""

"""HTTP server for a registered model's champion, on a socket that outlives the process."""

NO_CHAMPION = 3  # exit code: there is nothing to serve

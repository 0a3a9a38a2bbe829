"""A registered model's champion behind HTTP, on a socket that outlives the process."""

NO_CHAMPION = 3  # exit code: there is nothing to serve

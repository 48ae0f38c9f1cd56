"""Libraries of simulated clusters: designs, engines, resumable runs, readers of SLUG."""

"""The command line: options in, a job, words out."""

"""What files of settings may hold, one module a kind."""

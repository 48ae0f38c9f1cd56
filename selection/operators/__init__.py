"""Selection operators: the probability of being catalogued as a function of θ or of light."""

"""The model: networks, likelihoods, objective, inference over a data set, and the model file."""

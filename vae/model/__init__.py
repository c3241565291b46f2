"""The model: networks, likelihoods, the objective, inference over a data set, the model file."""

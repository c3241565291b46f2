"""A trained model applied to a folder of images: which of them are odd, typical, or like training images."""

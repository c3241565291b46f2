"""A trained model put to use: any images in, codes, images and scores out."""

"""The latent explorer: one self-contained page that maps test images and decodes latent codes in the browser."""

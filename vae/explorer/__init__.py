"""The latent explorer: a self-contained page that maps test images and decodes latent codes in the browser."""

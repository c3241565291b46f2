"""A classifier of the data set's images, in whose features samples are compared with real images."""

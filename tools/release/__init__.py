"""Names the images of a release by their digests."""

"""Parameters of the smallest BlobGAN there is."""

TINY = {
    "n_filters": 2,
    "latent_dim": 8,
    "feature_dim": 3,
    "style_dim": 2,
    "max_epochs": 1,
    "device": "cpu",
    "random_state": 0,
}

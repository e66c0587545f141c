"""The embedded models' weights and tokenizers, and the scripts that rebuild both (`build`, `family`)."""

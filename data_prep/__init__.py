"""From raw files or the Hub to prepared folders of token ids and labels."""

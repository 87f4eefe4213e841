"""Where data comes from: folders, the Hugging Face Hub, downloads."""

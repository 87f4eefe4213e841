"""What every other package uses: errors, the run config, DeepSpeed's config, languages."""

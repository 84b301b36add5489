"""Full ranking, expected metrics under ties, paired statistics, and scores held against a known truth."""

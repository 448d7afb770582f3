"""What came of a benchmark: tables beside the published ones, a page with all videos, and leaderboards."""

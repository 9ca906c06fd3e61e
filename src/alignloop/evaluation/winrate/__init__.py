"""Win rates: any policies on held-out prompts, asked as each must be, judged blind by models or by people."""

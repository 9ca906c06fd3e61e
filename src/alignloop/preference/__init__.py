"""DPO and its kin: a policy learned from rankings without a reward model of its own."""

"""Readers, filters, text, split: from files as they are distributed to a frozen `Dataset`."""

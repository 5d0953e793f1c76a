"""Records that cross module borders: frozen, without behaviour beyond reading themselves."""

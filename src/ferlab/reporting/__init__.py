"""What a reader sees: style, figures, tables, cards and the site."""

"""tvbank: one base model, many fine-tunes, each a small compressed task vector in one bank."""

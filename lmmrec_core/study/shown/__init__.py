"""What a reader looks at: the receipt of a track, cards, lists as pictures with titles, a score taken apart, neighbours."""

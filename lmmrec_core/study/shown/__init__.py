"""What a reader looks at: a track's receipt, cards, lists as pictures with titles, a score taken apart, neighbours."""

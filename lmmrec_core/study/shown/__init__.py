"""What a reader looks at: lists of stored runs as pictures with titles, a score taken apart, and nearest neighbours."""

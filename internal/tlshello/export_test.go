package tlshello

// Kept returns how much memory p holds on to.
func (p *Parser) Kept() int { return cap(p.buf) }

// Kept returns how much memory o holds on to.
func (o *Observer) Kept() int { return cap(o.kept) }

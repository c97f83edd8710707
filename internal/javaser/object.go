package javaser

// maxHierarchy bounds the superclasses of one class.
const maxHierarchy = 64

// needClass reads a class description that must not be null.
func (d *decoder) needClass(tc byte) *Class {
	c := d.classDesc(tc)
	if c == nil {
		d.fail(ErrSyntax, "an object without a class")
	}
	return c
}

func (d *decoder) classDesc(tc byte) *Class {
	switch tc {
	case tcNull:
		return nil
	case tcReference:
		v := d.reference()
		c, isClass := v.(*Class)
		if !isClass {
			d.fail(ErrSyntax, "reference to %s where a class is due", ClassName(v))
		}
		return c
	case tcClassDesc:
		return d.newClass()
	case tcProxyClassDesc:
		return d.proxyClass()
	}
	d.fail(ErrSyntax, "mark 0x%02x where a class is due", tc)
	return nil
}

func (d *decoder) newClass() *Class {
	c := &Class{Name: d.utf()}
	c.Serial = d.i64()
	d.assign(c)
	c.Flags = d.u8()
	n := int(d.u16())
	d.spend(n)
	for range n {
		f := FieldType{Type: d.u8()}
		f.Name = d.utf()
		if f.Type == 'L' || f.Type == '[' {
			// The name of the field's class: of no use here, but it has a handle.
			if _, isText := d.content(d.mark()).(string); !isText {
				d.fail(ErrSyntax, "field %s.%s without a type", c.Name, f.Name)
			}
		}
		c.Fields = append(c.Fields, f)
	}
	d.endOfClass(c)
	return c
}

func (d *decoder) proxyClass() *Class {
	c := &Class{Flags: scSerializable}
	d.assign(c)
	n := int(d.i32())
	d.spend(n)
	for range n {
		c.Proxy = append(c.Proxy, d.utf())
	}
	d.endOfClass(c)
	return c
}

// endOfClass reads what follows the fields: annotations and the superclass.
func (d *decoder) endOfClass(c *Class) {
	d.depth++
	if d.depth > d.limits.Depth {
		d.fail(ErrLimit, "classes are nested deeper than %d", d.limits.Depth)
	}
	defer func() { d.depth-- }()
	d.annotations()
	c.Super = d.classDesc(d.mark())
}

// annotations reads block data and objects up to their end mark.
func (d *decoder) annotations() []any {
	var all []any
	for {
		switch tc := d.mark(); tc {
		case tcEndBlockData:
			return all
		case tcBlockData:
			d.spend(1)
			all = append(all, d.take(int(d.u8())))
		case tcBlockDataLong:
			d.spend(1)
			all = append(all, d.take(int(d.i32())))
		default:
			d.spend(1)
			all = append(all, d.content(tc))
		}
	}
}

func (d *decoder) object() *Object {
	c := d.needClass(d.mark())
	if c.Flags&scEnum != 0 {
		d.fail(ErrSyntax, "enum class %s as an object", c.Name)
	}
	o := &Object{Class: c}
	d.assign(o)
	chain := d.hierarchy(c)
	for i := len(chain) - 1; i >= 0; i-- {
		o.Parts = append(o.Parts, d.part(chain[i]))
	}
	return o
}

// hierarchy is c with its superclasses, c first. A description may name itself
// as its own superclass.
func (d *decoder) hierarchy(c *Class) []*Class {
	var chain []*Class
	for ; c != nil; c = c.Super {
		if len(chain) == maxHierarchy {
			d.fail(ErrLimit, "class %s has more than %d superclasses", chain[0].Name, maxHierarchy)
		}
		chain = append(chain, c)
	}
	return chain
}

func (d *decoder) part(c *Class) Part {
	p := Part{Class: c}
	d.spend(1)
	switch {
	case c.Flags&scSerializable != 0:
		d.spend(len(c.Fields))
		p.Fields = make(map[string]Value, len(c.Fields))
		for _, f := range c.Fields {
			p.Fields[f.Name] = d.value(f.Type)
		}
		if c.Flags&scWriteMethod != 0 {
			p.Extra = d.annotations()
		}
	case c.Flags&scExternalizable != 0:
		// Without block data only the class itself knows where its part ends.
		if c.Flags&scBlockData == 0 {
			d.fail(ErrSyntax, "class %s is externalised in the format of JDK 1.1", c.Name)
		}
		p.Extra = d.annotations()
	default:
		d.fail(ErrSyntax, "class %s is neither serialisable nor externalisable", c.Name)
	}
	return p
}

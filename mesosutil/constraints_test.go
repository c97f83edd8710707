package mesosutil

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func TestParseConstraintsGrammar(t *testing.T) {
	for text, want := range map[string]Constraints{
		"":                                      nil,
		"os:centos7;zone:us-east-1a,us-east-1b": {{"os", []string{"centos7"}}, {"zone", []string{"us-east-1a", "us-east-1b"}}},
		"os:":                                   {{"os", nil}},
		"os:;zone:a":                            {{"os", nil}, {"zone", []string{"a"}}},
		":a":                                    {{"", []string{"a"}}},
		" os:a ; z:b ":                          {{"os", []string{"a"}}, {"z", []string{"b"}}},
		"os : centos7":                          {{"os ", []string{" centos7"}}},
		"os:centos7, rhel":                      {{"os", []string{"centos7", " rhel"}}},
		"os:a,,b,,":                             {{"os", []string{"a", "", "b"}}},
		"os:,":                                  {{"os", nil}},
		"os:a,a,b":                              {{"os", []string{"a", "b"}}},
		"Os:A;os:a":                             {{"Os", []string{"A"}}, {"os", []string{"a"}}},
		"ports:5000,7500,8300":                  {{"ports", []string{"5000", "7500", "8300"}}},
		"gpus:2.5;rack:r-1_x.y":                 {{"gpus", []string{"2.5"}}, {"rack", []string{"r-1_x.y"}}},
	} {
		got, err := ParseConstraints(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestParseConstraintsNamesTheBadPiece(t *testing.T) {
	for text, item := range map[string]string{
		"os":              "os",
		"os;zone:us-east": "os",
		"host:a:b":        "host:a:b",
		"os:a;":           "",
		"os:a;;z:b":       "",
		"os:a;os:b":       "os:b",
		"   ":             "",
		"a:b; c ;d:e":     "c",
	} {
		var pe *ParseError
		if _, err := ParseConstraints(text); !errors.As(err, &pe) || pe.Item != item {
			t.Errorf("%q: got %v, want item %q", text, err, item)
		}
	}
	if _, err := ParseConstraints("a:" + strings.Repeat("x", MaxSettingLength)); !isParseError(err) {
		t.Error("text over the limit accepted")
	}
}

func textAttr(name, v string) mesos.Attribute {
	return mesos.Attribute{Name: name, Type: mesos.TEXT, Text: &mesos.Value_Text{Value: v}}
}

func setAttr(name string, v ...string) mesos.Attribute {
	return mesos.Attribute{Name: name, Type: mesos.SET, Set: &mesos.Value_Set{Item: v}}
}

func scalarAttr(name string, v float64) mesos.Attribute {
	return mesos.Attribute{Name: name, Type: mesos.SCALAR, Scalar: &mesos.Value_Scalar{Value: v}}
}

func rangesAttr(name string, bounds ...uint64) mesos.Attribute {
	r := portsOf("*", bounds...)
	return mesos.Attribute{Name: name, Type: mesos.RANGES, Ranges: r.Ranges}
}

func TestConstraintsMatchByAttributeType(t *testing.T) {
	gpus, ports := scalarAttr("gpus", 3), rangesAttr("ports", 100, 200, 7000, 8000)
	zone, centos := setAttr("zone", "us-east-1a", "us-east-1b", "us-east-1c"), textAttr("os", "centos7")
	for _, tc := range []struct {
		constraints string
		attributes  []mesos.Attribute
		want        bool
	}{
		{"", nil, true},
		{"x:true", nil, false},
		{"os:", nil, false},
		{"os:", []mesos.Attribute{centos}, true},
		{"os:", []mesos.Attribute{textAttr("os", "ubuntu")}, true},
		{"os:;zone:us-east-1a,us-east-1c", []mesos.Attribute{centos, zone}, true},
		{"zone:us-east-1a,us-west", []mesos.Attribute{zone}, false},
		{"gpus:2", []mesos.Attribute{gpus}, true},
		{"gpus:3", []mesos.Attribute{gpus}, true},
		{"gpus:4", []mesos.Attribute{gpus}, false},
		{"gpus:4,1", []mesos.Attribute{gpus}, true},
		{"gpus:many", []mesos.Attribute{gpus}, false},
		{"gpus:NaN", []mesos.Attribute{gpus}, false},
		{"gpus:-Inf", []mesos.Attribute{gpus}, false},
		{"ports:6000", []mesos.Attribute{ports}, false},
		{"ports:7500", []mesos.Attribute{ports}, true},
		{"ports:8002", []mesos.Attribute{ports}, false},
		{"ports:5000,7500,8300", []mesos.Attribute{ports}, true},
		{"ports:100", []mesos.Attribute{ports}, true},
		{"ports:200", []mesos.Attribute{ports}, true},
		{"ports:web", []mesos.Attribute{ports}, false},
		{"ports:-1", []mesos.Attribute{ports}, false},
		{"os:centos7", []mesos.Attribute{centos}, true},
		{"os:ubuntu", []mesos.Attribute{centos}, false},
		{"os:ubuntu,centos7", []mesos.Attribute{centos}, true},
		{"OS:centos7", []mesos.Attribute{centos}, false},
		{"os:b", []mesos.Attribute{textAttr("os", "a"), textAttr("os", "b")}, true},
		{"os:a", []mesos.Attribute{textAttr("os", "a"), textAttr("os", "b")}, false},
		{"c1:a;c2:b", []mesos.Attribute{textAttr("c1", "a"), textAttr("c2", "b")}, true},
		{"c1:a;c2:z", []mesos.Attribute{textAttr("c1", "a"), textAttr("c2", "b")}, false},
		{"os:a", []mesos.Attribute{{Name: "os", Type: mesos.TEXT}}, false},
		{"os:a", []mesos.Attribute{{Name: "os", Type: mesos.Value_Type(99)}}, false},
	} {
		cs, err := ParseConstraints(tc.constraints)
		if err != nil {
			t.Fatal(err)
		}
		if got := cs.Match(tc.attributes); got != tc.want {
			t.Errorf("%q against %q: got %v", tc.constraints, AttributesText(tc.attributes), got)
		}
	}
}

func TestUnmetTellsTheFirstConstraintThatFails(t *testing.T) {
	cs, _ := ParseConstraints("a:1;b:2;c:3")
	c, unmet := cs.Unmet([]mesos.Attribute{textAttr("a", "1"), textAttr("b", "x")})
	if !unmet || c.Attribute != "b" {
		t.Errorf("got %v, %v", c, unmet)
	}
}

func TestAttributesTextIsWhatAnAgentIsStartedWith(t *testing.T) {
	got := AttributesText([]mesos.Attribute{scalarAttr("g", 2.5), rangesAttr("p", 1, 2, 5, 5), setAttr("z", "a", "b"), textAttr("os", "x"), {Name: "n"}})
	if want := "g:2.5;p:[1-2,5-5];z:{a,b};os:x;n:"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := AttributeMap([]mesos.Attribute{textAttr("a", "1"), textAttr("a", "2")}); len(m) != 1 || m["a"].Text.Value != "2" {
		t.Errorf("last does not win: %v", m)
	}
}

func FuzzParseConstraints(f *testing.F) {
	for _, s := range []string{"", "os:a,b;z:", "os", "a:b:c", "a:1;", ":;:", "os:,,a,,"} {
		f.Add(s)
	}
	attributes := []mesos.Attribute{scalarAttr("os", 2), rangesAttr("a", 1, 5), setAttr("z", "x"), textAttr("", "")}
	f.Fuzz(func(t *testing.T, text string) {
		cs, err := ParseConstraints(text)
		if err != nil {
			if !isParseError(err) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		cs.Match(attributes)
		again, err := ParseConstraints(cs.String())
		if err != nil || !cmp.Equal(cs, again) {
			t.Fatalf("%q: %v became %v (%v)", text, cs, again, err)
		}
	})
}

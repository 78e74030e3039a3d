package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
)

// PagesConfig says how the pages look that people see: sign-in, consent, account.
type PagesConfig struct {
	// Name of this server, at the top of every page.
	Name string `json:"name,omitempty"`

	// Logo is the path of an image file.
	Logo string `json:"logo,omitempty"`

	// Accent is the colour of buttons and links, as #rrggbb.
	Accent string `json:"accent,omitempty"`

	// FooterLinks stand at the foot of every page.
	FooterLinks []FooterLink `json:"footer_links,omitempty"`

	// TemplateDir has templates that replace the built-in ones of the same name.
	TemplateDir string `json:"template_dir,omitempty"`

	// Language answers requests that ask for none: en (default) or fr.
	Language string `json:"language,omitempty"`

	// AllowPopups leaves out Cross-Origin-Opener-Policy, for clients that sign
	// people in within a popup window.
	AllowPopups bool `json:"allow_popups,omitempty"`
}

// FooterLink is a link at the foot of the pages.
type FooterLink struct {
	Label string `json:"label"`
	URL   string `json:"url"`
}

// options is the configuration as package pages has it. c may be nil.
func (c *PagesConfig) options() pages.Options {
	if c == nil {
		return pages.Options{}
	}
	options := pages.Options{
		Name: c.Name, LogoFile: c.Logo, Accent: c.Accent, TemplateDir: c.TemplateDir,
		DefaultLanguage: c.Language, AllowPopups: c.AllowPopups,
	}
	for _, link := range c.FooterLinks {
		options.FooterLinks = append(options.FooterLinks, pages.Link{Label: pages.Text{"": link.Label}, URL: link.URL})
	}
	return options
}

// unmarshalCaddyfile reads
//
//	pages {
//		name         <name>
//		logo         <file>
//		accent       <#rrggbb>
//		footer_link  <label> <url>
//		template_dir <directory>
//		language     en|fr
//		allow_popups
//	}
func (c *PagesConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, c.unmarshalOption)
}

func (c *PagesConfig) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "name":
		return oneArgument(d, &c.Name)
	case "logo":
		return oneArgument(d, &c.Logo)
	case "accent":
		return oneArgument(d, &c.Accent)
	case "footer_link":
		link := FooterLink{}
		if !d.AllArgs(&link.Label, &link.URL) {
			return d.ArgErr()
		}
		c.FooterLinks = append(c.FooterLinks, link)
	case "template_dir":
		return oneArgument(d, &c.TemplateDir)
	case "language":
		return oneArgument(d, &c.Language)
	case "allow_popups":
		c.AllowPopups = true
		return noArguments(d)
	default:
		return unknownOption(d, "pages", "accent allow_popups footer_link language logo name template_dir")
	}
	return nil
}

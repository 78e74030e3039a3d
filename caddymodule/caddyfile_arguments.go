package caddymodule

import (
	"errors"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// eachOption calls read at each option of a block, if there is one.
func eachOption(d *caddyfile.Dispenser, read func(*caddyfile.Dispenser) error) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() == "{" {
			return d.Err("what stands before this { takes no block")
		}
		if err := read(d); err != nil {
			return err
		}
	}
	return nil
}

// unknownOption says which options the block has: one of those, separated by spaces,
// is what was meant.
func unknownOption(d *caddyfile.Dispenser, block, options string) error {
	return d.Errf("unknown option of %s: %s; there is: %s", block, d.Val(), strings.ReplaceAll(options, " ", ", "))
}

// The shapes of an option's arguments. Each refuses what it does not
// expect, a repetition of a single value included.

func noArguments(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func oneArgument(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	if *value != "" {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(value) || strings.TrimSpace(*value) == "" {
		return d.ArgErr()
	}
	return nil
}

func someArguments(d *caddyfile.Dispenser, values *[]string) error {
	arguments := d.RemainingArgs()
	if len(arguments) == 0 {
		return d.ArgErr()
	}
	*values = append(*values, arguments...)
	return nil
}

func duration(d *caddyfile.Dispenser, value *caddy.Duration) error {
	var text string
	option := d.Val()
	if *value != 0 {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	parsed, err := caddy.ParseDuration(text)
	if err == nil && parsed <= 0 {
		err = errors.New("want a positive duration")
	}
	if err != nil {
		return d.Errf("%s: %v", option, err)
	}
	*value = caddy.Duration(parsed)
	return nil
}

// thisArgument demands the only word an option knows.
func thisArgument(d *caddyfile.Dispenser, word string) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) || value != word {
		return d.Errf("%s wants the word %s", option, word)
	}
	return nil
}

// durationOrOff reads a duration, or off as a negative one.
func durationOrOff(d *caddyfile.Dispenser, value *caddy.Duration) error {
	if d.CountRemainingArgs() == 1 && *value == 0 {
		if lookahead := d.RemainingArgs(); lookahead[0] == "off" {
			*value = -1
			return nil
		}
		d.Prev()
	}
	return duration(d, value)
}

// onOrOff reads one of the two words.
func onOrOff(d *caddyfile.Dispenser, value **bool) error {
	option, word := d.Val(), ""
	if *value != nil {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(&word) || (word != "on" && word != "off") {
		return d.Errf("%s wants on or off", option)
	}
	on := word == "on"
	*value = &on
	return nil
}

// positiveNumber reads a number that stands once.
func positiveNumber(d *caddyfile.Dispenser, value *int) error {
	option, text := d.Val(), ""
	if *value != 0 {
		return d.Errf("%s stands twice", option)
	}
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return d.Errf("%s: want a number from 1 on", option)
	}
	*value = n
	return nil
}

// block is an option that has options of its own.
type block[T any] interface {
	*T
	unmarshalCaddyfile(*caddyfile.Dispenser) error
}

// repeatedBlock reads a block that may stand several times.
func repeatedBlock[T any, B block[T]](d *caddyfile.Dispenser, all *[]T) error {
	var one T
	if err := B(&one).unmarshalCaddyfile(d); err != nil {
		return err
	}
	*all = append(*all, one)
	return nil
}

// oneBlock reads a block that stands once.
func oneBlock[T any, B block[T]](d *caddyfile.Dispenser, value **T) error {
	if *value != nil {
		return d.Errf("%s stands twice", d.Val())
	}
	*value = new(T)
	return B(*value).unmarshalCaddyfile(d)
}

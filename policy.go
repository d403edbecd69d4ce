package main

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
)

// pagePolicy lets the page run the scripts that are in it, use its style, and get all else from
// where it is from. Other pages may still show the page, or the picture.
//
// Browsers that know no hashes (CSP Level 1) go by 'unsafe-inline', which the others ignore beside
// a hash. The <img> that plays the stream is left with a data: address, and so is the icon.
//
// It is made for the first page: a Pi Zero takes some milliseconds for the hashes.
var pagePolicy = sync.OnceValue(func() string {
	return "default-src 'none'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; " +
		"script-src 'unsafe-inline'" + inlineHashes("script") + "; style-src 'unsafe-inline'" + inlineHashes("style")
})

// inlineHashes lists the hashes of what is in the page's elements of a kind.
func inlineHashes(element string) (list string) {
	for _, text := range strings.Split(string(page), "<"+element+">")[1:] {
		text, _, _ = strings.Cut(text, "</"+element+">")
		sum := sha256.Sum256([]byte(text))
		list += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return list
}

// Package httpid finds session IDs in HTTP requests and responses: in cookies,
// headers, query parameters, path segments, and strings at the top level of a
// JSON body. It is for anybody to read, fuzz and reuse, and needs nothing but
// the standard library.
//
// It does not know whose an ID is. It answers which values a message has for
// a [Source], cut and decoded as the source says, and refuses a message that
// two readers could understand in two ways: a header that is sent twice with
// different values, a JSON key that is.
//
// A cookie and a query parameter may well be there several times with
// different values (cookies of different paths are: RFC 6265, 5.4), so all of
// them are returned, and whoever knows the owners decides.
//
// Everything here comes from the network. Nothing allocates on the common
// path: values are copied into a buffer that the caller keeps.
package httpid

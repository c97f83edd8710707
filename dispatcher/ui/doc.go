// Package ui is the web pages of one dispatcher node: what Spark's own
// dispatcher shows on its web UI port, and what its operators miss there.
//
// # Pages
//
//	/             the four tables of upstream: queued, launched, finished, waiting for retry
//	/drivers      every driver, the latest first: search, filter by state, page by page
//	/driver?id=   one driver with every attempt; also /driver/{id}
//	/cluster      nodes, leader, framework, policy
//	/static/      style sheet, icon, the script of the refresh button
//
// Headings, columns and fields are upstream's, so that who knows its pages finds
// everything again. Different are: sandbox and history links lead to the attempt
// they stand beside, upstream's always to the first; the state shown is the
// exact one (FAILED, not FINISHED) with its reason; and whatever
// spark.redaction.regex matches is hidden, upstream shows the passwords of a
// submission to everybody.
//
// # Any node
//
// Every node serves every page from the state that it has applied, leader or
// not, with or without a majority. Such a read may be a moment behind; each page
// says which node answered, at which index, and whether it leads. With
// ?consistency=linearizable a page holds all that was acknowledged before it was
// asked for, and needs a leader.
//
// # Cost
//
// A page looks at the rows that it shows, not at all drivers: the tables of the
// first page are cut, lists are paged by the order of acceptance, which stays
// valid whatever comes or goes meanwhile, and a search stops after a bounded
// number of drivers and offers to go on from there.
//
// # Strangers
//
// The pages change nothing: only GET and HEAD are answered. Texts of submissions
// are written by others, so all of them pass through html/template, and the
// Content-Security-Policy allows neither inline code nor other hosts. The pages
// work without JavaScript; links are relative, so a reverse proxy may mount them
// under any path.
package ui

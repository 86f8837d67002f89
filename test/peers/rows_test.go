package peers

// rows is the table.
var rows = []row{
	refusedRow, banRow, statusRow, ourClientRow, protocolRow, nameRow, elsewhereRow, tlsRow, sshRow, rejectRow, gzipRow, route53Row, keptURLRow, keptSSHRow,
}

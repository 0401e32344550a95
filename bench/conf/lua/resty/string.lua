-- Stand-in for resty.string, which is not in Debian: to_hex by nginx's own routine, as the original
-- does it.
local ffi = require "ffi"
ffi.cdef "unsigned char *ngx_hex_dump(unsigned char *out, const unsigned char *in, size_t length);"
local buffer_of = ffi.typeof "unsigned char[?]"

local String = {}

function String.to_hex(bytes)
    local digits = 2 * #bytes
    local buffer = buffer_of(digits)
    ffi.C.ngx_hex_dump(buffer, bytes, #bytes)
    return ffi.string(buffer, digits)
end

return String

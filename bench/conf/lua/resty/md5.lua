-- Stand-in for resty.md5, which is not in Debian: the same calls on ngx.md5_bin.
local Md5 = {}
Md5.__index = Md5

function Md5.new()
    return setmetatable({ text = "" }, Md5)
end

function Md5:update(more)
    self.text = self.text .. more
    return true
end

function Md5:final()
    return ngx.md5_bin(self.text)
end

return Md5
